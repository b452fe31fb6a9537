# The command in a container, on a CPU or, with `--gpus all`, on the GPUs of the host: the torch of the package index brings CUDA.
#
#   docker build -t cscl .
#   docker run --rm -v "$PWD:/work" cscl demo                                    # writes demo/index.html
#   docker run --rm --gpus all --shm-size 8g -v /path/to/data:/work/data cscl parse --dataset sysu
FROM python:3.12-slim
COPY . /src
RUN pip install --no-cache-dir /src && rm -rf /src
WORKDIR /work
ENTRYPOINT ["cscl"]
CMD ["--help"]
