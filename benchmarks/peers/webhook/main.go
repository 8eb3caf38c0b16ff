// The peer of the admission benchmark: a validating webhook on net/http and nothing else.
// It refuses a ConfigMap whose data holds the key "forbidden". Usage: webhook ADDRESS CERTIFICATE KEY
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
)

type configMap struct {
	Data map[string]string `json:"data"`
}

type request struct {
	UID    string    `json:"uid"`
	Object configMap `json:"object"`
}

type status struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

type response struct {
	UID              string            `json:"uid"`
	Allowed          bool              `json:"allowed"`
	Status           *status           `json:"status,omitempty"`
	AuditAnnotations map[string]string `json:"auditAnnotations,omitempty"`
}

type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

func answer(writer http.ResponseWriter, asked *http.Request) {
	var question review
	body := http.MaxBytesReader(writer, asked.Body, 16<<20)
	if err := json.NewDecoder(body).Decode(&question); err != nil || question.Request == nil {
		http.Error(writer, "not an AdmissionReview", http.StatusBadRequest)
		return
	}
	uid := question.Request.UID
	said := &response{UID: uid, Allowed: true, AuditAnnotations: map[string]string{"call": uid}}
	if _, found := question.Request.Object.Data["forbidden"]; found {
		said.Allowed = false
		said.Status = &status{Code: http.StatusForbidden, Reason: "Forbidden", Message: "the key forbidden is taken"}
	}
	writer.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(writer).Encode(review{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview", Response: said}); err != nil {
		log.Print(err)
	}
}

func main() {
	http.HandleFunc("POST /validating/no-forbidden-key", answer)
	log.Fatal(http.ListenAndServeTLS(os.Args[1], os.Args[2], os.Args[3], nil))
}
