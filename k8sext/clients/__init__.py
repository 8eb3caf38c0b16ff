"""The two kinds of client one writes for Kubernetes: commands for people, libraries for programs.

`plugins` holds three kubectl plugins, console scripts that kubectl finds by their names:

    kubectl ctx-auto     the context that fits where you are
    kubectl uptime       how long pods have really been up
    kubectl exec-as      a command in a container, as another user

| Kubernetes | here |
|---|---|
| kubectl plugin, and completion | `plugins.ctx_auto`, `plugins.uptime`, `plugins.exec_as`; `plugins.completion` |
| krew manifest | `krew/` |
| OpenAPI v3 discovery | `generate.openapi.groups`, `generate.schemas.Types` |
| client-gen: typed clientset | `generate.package.render`, `runtime.verbs.Resource` |
| lister-gen, informer-gen | `runtime.informer.Lister`, `runtime.informer.Informer` |
| ephemeral container, exec | `plugins.exec_plan.ephemeral`, `plugins.exec_plan.wrapped` |

`generate` turns the OpenAPI v3 document of a running API server into a typed Python package, and `runtime` is what such
packages stand on, as Go's generated clientsets stand on client-go. `krew` holds manifests for the plugin manager of
that name.

Left out, because it costs more lines than it teaches: subresources that are streams or verbs of their own (log, exec,
binding, eviction) in generated clients, and async generated clients; `k8sext.kube` has what such programs need.
"""
