# tsar serve with its weights: the build needs PyPI and the index of torch for CPUs, running needs no network.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY tsar tsar
COPY zoo zoo
COPY pretrain/recipes pretrain/recipes
RUN python -m venv /opt/tsar \
    && /opt/tsar/bin/pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu \
    && /opt/tsar/bin/pip install --no-cache-dir '.[serve]'

FROM python:3.12-slim
COPY --from=build /opt/tsar /opt/tsar
RUN useradd --create-home tsar
USER tsar
ENV PATH=/opt/tsar/bin:$PATH HF_HUB_OFFLINE=1 MPLCONFIGDIR=/tmp
EXPOSE 8000
HEALTHCHECK --start-period=30s CMD python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/ready')"
CMD ["tsar", "serve", "--host", "0.0.0.0", "--port", "8000"]
