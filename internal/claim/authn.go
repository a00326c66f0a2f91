package claim

var authnClaims = []Claim{}
