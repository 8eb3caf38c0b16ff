module k8sext.example/webhook

go 1.25
