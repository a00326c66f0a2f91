package claim

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of claims into docs/verify.md")

// TestDocumentedClaims: the table in docs/verify.md is what All() says.
func TestDocumentedClaims(t *testing.T) {
	const page, begin, end = "../../docs/verify.md", "<!-- claims -->\n", "<!-- /claims -->\n"
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, opened := strings.Cut(string(b), begin)
	have, after, closed := strings.Cut(rest, end)
	if !opened || !closed {
		t.Fatalf("%s lacks %q or %q", page, begin, end)
	}
	want := claimsTable()
	if have == want {
		return
	}
	if !*update {
		t.Fatalf("%s lists other claims than there are; `go test ./internal/claim -update` writes\n%s", page, want)
	}
	if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func claimsTable() string {
	var b strings.Builder
	b.WriteString("| Claim | The specification says | What holds |\n|---|---|---|\n")
	cell := strings.NewReplacer("|", `\|`, "\n", " ").Replace
	for _, c := range All() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", c.ID, cell(c.Says), cell(c.Holds))
	}
	return b.String()
}
