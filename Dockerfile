# The image: one static binary, from scratch, not root.
#
#   docker build -t perfgate .     builds from source; needs the base image golang
#   make image                     leaves the first stage out: dist/ has the binary
FROM golang:1.26 AS source
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY main.go ./
COPY node/ node/
COPY store/ store/
COPY limiter/ limiter/
COPY httpapi/ httpapi/
ARG VERSION=dev
RUN mkdir -p /dist/data && \
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /dist/perfgate .

FROM scratch
COPY --from=source /dist/perfgate /perfgate
COPY --from=source --chown=65532:65532 /dist/data /data
USER 65532:65532
VOLUME /data
ENV PERFGATE_DATA_DIR=/data PERFGATE_ADMIN_LISTEN=:8081
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["/perfgate", "health"]
ENTRYPOINT ["/perfgate"]
CMD ["serve"]
