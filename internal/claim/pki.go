package claim

var pkiClaims = []Claim{}
