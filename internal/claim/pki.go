package claim

var pkiClaims = []Claim{pkiThreeCAs, pkiVaultOnly, pkiShortLived, pkiInitToken, pkiRolling, pkiAudit, pkiRevocation}
