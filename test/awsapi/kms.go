package awsapi

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
)

type kmsRequest struct {
	KeyID       string `json:"KeyId"`
	TargetKeyID string `json:"TargetKeyId"`
	AliasName   string
	Plaintext   []byte
	Ciphertext  []byte `json:"CiphertextBlob"`
}

// kms encrypts and decrypts with one key, which answers to any name.
func (c *Cloud) kms(w http.ResponseWriter, target string, body []byte) *problem {
	var in kmsRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return invalid("SerializationException", "%v", err)
	}
	action := strings.TrimPrefix(target, "TrentService.")
	if p := c.may("kms:" + action); p != nil {
		return p
	}
	if done, p := c.manage(w, action, in); done {
		return p
	}
	block, err := aes.NewCipher(c.master[:])
	if err != nil {
		return invalid("KMSInternalException", "%v", err)
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return invalid("KMSInternalException", "%v", err)
	}
	arn := "arn:aws:kms:" + c.Region + ":" + c.Account + ":key/00000000-0000-0000-0000-000000000001"
	switch action {
	case "DescribeKey":
		writeJSON(w, http.StatusOK, map[string]any{"KeyMetadata": map[string]any{"KeyId": arn, "Arn": arn, "Enabled": true, "KeyState": "Enabled"}})
	case "Encrypt":
		writeJSON(w, http.StatusOK, map[string]any{"KeyId": arn, "CiphertextBlob": seal.Seal(nil, nil, in.Plaintext, nil)})
	case "Decrypt":
		plain, err := seal.Open(nil, nil, in.Ciphertext, nil)
		if err != nil {
			return invalid("InvalidCiphertextException", "")
		}
		writeJSON(w, http.StatusOK, map[string]any{"KeyId": arn, "Plaintext": plain})
	case "GenerateDataKey":
		plain := make([]byte, 32)
		_, _ = rand.Read(plain) // never fails (crypto/rand)
		writeJSON(w, http.StatusOK, map[string]any{"KeyId": arn, "Plaintext": plain, "CiphertextBlob": seal.Seal(nil, nil, plain, nil)})
	default:
		return invalid("InvalidAction", "KMS's %s is not among what this stand-in does", action)
	}
	return nil
}
