# mvt-deploy on an edge device: the base dependencies, without PyTorch. docs/arm.md says how to run it.
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm
COPY constraints.txt /tmp/constraints.txt
COPY --from=build /wheels /tmp/wheels
# opencv-python-headless takes the place of opencv-python, whose windows would need libraries of a desktop.
RUN pip install --no-cache-dir -c /tmp/constraints.txt /tmp/wheels/*.whl \
    && version="$(pip show opencv-python | sed -n 's/^Version: //p')" \
    && pip uninstall --yes opencv-python \
    && pip install --no-cache-dir "opencv-python-headless==${version}" \
    && rm -r /tmp/wheels /tmp/constraints.txt \
    && useradd --create-home --uid 10001 mvt \
    && install -d -o mvt -g mvt /results
# ONNX Runtime would report its use to Microsoft, and warn that a read-only file system keeps no number for the device.
ENV PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
USER mvt
WORKDIR /results
HEALTHCHECK --interval=60s --timeout=30s CMD ["mvt-deploy", "doctor"]
ENTRYPOINT ["mvt-deploy"]
CMD ["--help"]
