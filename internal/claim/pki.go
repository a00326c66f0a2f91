package claim

var pkiClaims = []Claim{pkiVaultOnly, pkiShortLived, pkiInitToken}
