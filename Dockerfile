# The daemon as a container. The wheels come from the build context (script/image puts them there), so that the build
# itself needs no network.
ARG BASE_IMAGE
FROM ${BASE_IMAGE} AS build
COPY build/wheels /tmp/wheels
RUN python3 -m venv /opt/supervisor \
    && /opt/supervisor/bin/python -m pip install --no-index --find-links /tmp/wheels --no-compile "supervisor[speedups]" \
    && /opt/supervisor/bin/python -m pip uninstall --yes pip setuptools \
    && /opt/supervisor/bin/python -m compileall -q /opt/supervisor/lib

FROM ${BASE_IMAGE}
ARG BUILD_VERSION=0.0.0
ARG BUILD_ARCH=amd64
LABEL io.hass.type=supervisor io.hass.name=Supervisor io.hass.version=${BUILD_VERSION} io.hass.arch=${BUILD_ARCH}
COPY rootfs/ /
COPY docs/ /usr/share/doc/supervisor/
RUN mkdir -p /etc/pulse && ln -sf /usr/share/supervisor/pulse-client.conf /etc/pulse/client.conf
COPY --from=build /opt/supervisor /opt/supervisor
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/libexec/supervisor/entrypoint"]
