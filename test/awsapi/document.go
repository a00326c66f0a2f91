package awsapi

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// Signer signs identity documents, as AWS does in a region.
type Signer struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

// NewSigner makes a key of its own.
func NewSigner(region string) (*Signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{Organization: []string{"stand-in for AWS"}, CommonName: region},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &Signer{key, cert}, err
}

// Certificate is what its signatures are checked by, as PEM.
func (s *Signer) Certificate() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw}))
}

// Document is what an instance is told of itself.
type Document struct {
	Account  string    `json:"accountId"`
	Instance string    `json:"instanceId"`
	Region   string    `json:"region"`
	Image    string    `json:"imageId"`
	Address  string    `json:"privateIp"`
	Pending  time.Time `json:"pendingTime"`
}

// Encode is the document as the metadata service shows it.
func (d Document) Encode() []byte {
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		panic(err) // plain data
	}
	return b
}

var (
	oidData       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidSHA256     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidRSA        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
)

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"explicit,tag:0"`
}

type signedData struct {
	Version    int
	Algorithms []pkix.AlgorithmIdentifier `asn1:"set"`
	Content    contentInfo
	Signers    []signerInfo `asn1:"set"`
}

type signerInfo struct {
	Version   int
	Signer    issuerAndSerial
	Digest    pkix.AlgorithmIdentifier
	Algorithm pkix.AlgorithmIdentifier
	Signature []byte
}

type issuerAndSerial struct {
	Issuer asn1.RawValue
	Serial *big.Int
}

// PKCS7 signs a document, which the signature holds: what the metadata service shows as rsa2048, base64 in lines.
func (s *Signer) PKCS7(document []byte) (string, error) {
	sum := sha256.Sum256(document)
	signature, err := rsa.SignPKCS1v15(nil, s.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	digest := pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: asn1.NullRawValue}
	content, err := wrap(oidData, document)
	if err != nil {
		return "", err
	}
	outer, err := wrap(oidSignedData, signedData{Version: 1, Algorithms: []pkix.AlgorithmIdentifier{digest}, Content: content,
		Signers: []signerInfo{{Version: 1, Signer: issuerAndSerial{asn1.RawValue{FullBytes: s.cert.RawIssuer}, s.cert.SerialNumber}, Digest: digest,
			Algorithm: pkix.AlgorithmIdentifier{Algorithm: oidRSA, Parameters: asn1.NullRawValue}, Signature: signature}}})
	if err != nil {
		return "", err
	}
	der, err := asn1.Marshal(outer)
	if err != nil {
		return "", fmt.Errorf("encode the signature: %w", err)
	}
	return lines(base64.StdEncoding.EncodeToString(der)), nil
}

func wrap(kind asn1.ObjectIdentifier, v any) (contentInfo, error) {
	b, err := asn1.Marshal(v)
	if err != nil {
		return contentInfo{}, fmt.Errorf("encode %v: %w", kind, err)
	}
	return contentInfo{kind, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: b}}, nil
}

func lines(s string) string {
	out := ""
	for len(s) > 64 {
		out, s = out+s[:64]+"\n", s[64:]
	}
	return out + s
}
