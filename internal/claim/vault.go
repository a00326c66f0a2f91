package claim

var vaultClaims = []Claim{}
