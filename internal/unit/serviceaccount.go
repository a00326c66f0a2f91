package unit

import "strings"

// The key that signs ServiceAccount tokens. All API servers share it, so it comes from Vault. Its successors, which
// rotation makes, are beside it.
const (
	ServiceAccountKeyFile    = PKIDir + "/service-account.key"
	ServiceAccountPublicFile = PKIDir + "/service-account.pub"

	serviceAccountDocument = "service-account"
)

// tokenKeys are where an API server has the keys of ServiceAccount tokens.
type tokenKeys struct {
	signing string
	trusted []string
	secrets []Secret
}

// serviceAccountKeys has the private key of the one that signs, and the public key of every other that is trusted.
func serviceAccountKeys(d Desired) tokenKeys {
	documents := d.ServiceAccountKeys
	if len(documents) == 0 {
		documents = []string{serviceAccountDocument}
	}
	var k tokenKeys
	for i, document := range documents {
		if i == 0 {
			k.signing = tokenKeyBase(document) + ".key"
			k.secrets = append(k.secrets, Secret{Document: document, Field: "key", Path: k.signing})
		}
		public := TokenKeyFile(document)
		k.trusted = append(k.trusted, public)
		k.secrets = append(k.secrets, Secret{Document: document, Field: "pub", Path: public})
	}
	return k
}

// TokenKeyFile is where an API server that trusts the key of a document has its public half.
func TokenKeyFile(document string) string { return tokenKeyBase(document) + ".pub" }

func tokenKeyBase(document string) string {
	return PKIDir + "/" + strings.ReplaceAll(document, "/", "-")
}

// SecretFiles match every file that a Secret of any unit was ever put in; those that no unit has any more can go.
const SecretFiles = PKIDir + "/service-account*"
