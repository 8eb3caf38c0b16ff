"""The supervisor of one node's containers: the small process that holds what must outlive the gRPC server.

Pipes, terminals, exit codes and open log files cannot be handed from one process to the next, so they stand here,
apart from the server: the server may be killed and started again, and finds its containers as it left them.
(containerd has one such shim a pod, CRI-O one conmon a container; one a node is enough for a lesson.) Standard
library only, a single thread, about 11 MB.

    python -S -E -m k8sext.infra.cri.shim SOCKET FOLDER

Requests and answers are JSON, one packet each, over a SOCK_SEQPACKET unix socket:

    start   {"container": ID, "spec": PATH}             PATH holds what to run; answers when the program has been
    executed
    exec    {"container": ID, "argv": [...], "tty": B, "stdin": B}   and one socket: the session, see `stdio`;
            {"wrapper": [...]} where another than the container's own stands before the command
    attach  {"container": ID, "stdin": B}               and one socket
    signal  {"container": ID, "signal": N}              to the main process only, as a container's first process gets it
    kill    {"container": ID}                           SIGKILL to every process of the container
    reopen  {"container": ID}                           the log file was rotated
    list    {}                                          the containers that run

An answer is {"id": N, "ok": {...}} or {"id": N, "error": TEXT}; {"exited": ID} comes unasked. Exit codes are written
to FOLDER/containers/ID/exit.json before they are announced, so that they are not lost while no server listens.
"""
