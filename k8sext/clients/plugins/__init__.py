"""kubectl plugins. kubectl hands a plugin its arguments and its environment, and nothing else.

So a plugin that needs the cluster calls kubectl back (`k8sext.clients.kubectl`): logins, proxies, several kubeconfig
files and the global flags then work as people know them, and starting stays quick, because no client library is loaded.
"""
