package claim

var dataClaims = []Claim{}
