package claim

var authzClaims = []Claim{}
