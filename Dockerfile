# tsar serve with its weights: the build needs PyPI and an index of torch, running needs no network. See docs/serving.md.
ARG PYTHON=docker.io/library/python:3.12-slim

FROM $PYTHON AS build
WORKDIR /src
# What pip is told about torch: builds for CPUs are far smaller. `--build-arg TORCH=torch` takes the one for NVIDIA GPUs.
ARG TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
RUN python -m venv /opt/tsar && /opt/tsar/bin/pip install --no-cache-dir $TORCH
# What tsar needs, from pyproject.toml alone, so that a change of the code does not install it again.
COPY pyproject.toml ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['dependencies'], *project['optional-dependencies']['serve'], sep='\n')" > requirements.txt \
    && /opt/tsar/bin/pip install --no-cache-dir -r requirements.txt
COPY README.md LICENSE ./
COPY tsar tsar
COPY zoo zoo
COPY pretrain/recipes pretrain/recipes
RUN /opt/tsar/bin/pip install --no-cache-dir --no-deps .

FROM $PYTHON
# A number, since Kubernetes cannot tell from a name that it is not root.
RUN useradd --create-home --uid 10001 tsar
COPY --from=build /opt/tsar /opt/tsar
USER 10001
WORKDIR /home/tsar
ENV PATH=/opt/tsar/bin:$PATH HF_HUB_OFFLINE=1 MPLCONFIGDIR=/tmp
EXPOSE 8000
HEALTHCHECK --start-period=30s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/ready', timeout=10)"]
CMD ["tsar", "serve", "--host", "0.0.0.0", "--port", "8000"]
