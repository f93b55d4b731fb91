"""The local node: a small kubelet that runs pods as processes of this machine's Python environment.

``python -m devcluster.node`` registers a Node with the real CPUs, memory and GPUs of the machine, keeps its
Lease, runs the pods that the scheduler binds to it, and reports their state as a kubelet does: phases,
conditions, container states, exit codes, termination messages and restarts with back-off. It also serves the part
of the kubelet's HTTPS interface that ``kubectl logs`` needs.

How a container becomes a process

- ``command`` and ``args`` are run as they are, after ``$(VAR)`` expansion. **Images are not read**: a container
  without ``command`` runs what ``--images`` says of its image. ``python`` and ``python3`` mean the interpreter that
  runs the node.
- Each container has a shim, a process that dies with the node and takes every descendant of the program along.
  On deletion the program itself gets SIGTERM, as process 1 of a container would; what is left after the grace
  period, or after the program has ended, is killed.
- Where mount namespaces are permitted (root, or unprivileged user namespaces), a container sees the files of the
  machine with its volumes mounted over them, a ``/dev/shm`` and a ``TMPDIR`` of its own; mount points that the
  machine lacks exist in the container only. Elsewhere containers that mount volumes wait with the reason
  ``CreateContainerConfigError``, and all others run.
- Each pod has its own address in 127.0.0.0/8 (``status.podIP``). Nothing keeps a program from binding to others, so
  programs that may run side by side must bind to their pod's address.
- Whole requested CPUs become CPU affinity and ``OMP_NUM_THREADS``; requested GPUs become ``CUDA_VISIBLE_DEVICES``,
  which is empty for a container that requested none.
- ``HOME`` and the working directory, unless set, are an empty folder that goes with the container.
- ``TERMINATION_MESSAGE_PATH`` names the file of the termination message, also where nothing can be mounted.

Not enforced: image, resource limits, securityContext, network policy, ``dnsPolicy``. Not supported: ``kubectl
exec``, ``attach`` and ``port-forward``, lifecycle hooks, exec and gRPC probes (a container with such a probe counts
as ready once it runs), restartable init containers, ephemeral containers, CSI and network volumes, changes of mounted
ConfigMaps and Secrets while a pod runs (service account tokens are renewed).
"""
