package claim

var networkClaims = []Claim{}
