# Built by `make image` from dist/perfgate, the static binary.
FROM scratch
COPY dist/perfgate /perfgate
COPY --chown=65532:65532 dist/data /data
USER 65532:65532
VOLUME /data
ENV PERFGATE_DATA_DIR=/data PERFGATE_ADMIN_LISTEN=:8081
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["/perfgate", "health"]
ENTRYPOINT ["/perfgate"]
CMD ["serve"]
