package claim

var pkiClaims = []Claim{pkiThreeCAs, pkiVaultOnly, pkiShortLived, pkiInitToken, pkiAudit, pkiRevocation}
