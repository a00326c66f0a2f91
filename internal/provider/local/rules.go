package local

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

// maxComment is nftables' limit of a comment's bytes.
const maxComment = 120

// Ruleset renders the security groups as one nftables transaction: a set of addresses for each role, a rule for each
// that is declared, a refusal of all else, and the translation of addresses. Machines are told of a refusal at once; the
// internet hears nothing.
func Ruleset(machines []provider.Machine, network provider.Network) string {
	var b strings.Builder
	b.WriteString("flush ruleset\ntable inet ashlar {\n")
	for _, role := range roles(machines, network.Rules) {
		set(&b, string(role), "", addresses(machines, role))
	}
	set(&b, string(provider.Trusted), "flags interval", trusted(network.Trusted))
	filter(&b, "forward", forwarded(network.Rules))
	filter(&b, "output", fromOperator(network.Rules))
	filter(&b, "input", []string{`iifname "lo" accept`,
		fmt.Sprintf("iifname != %q ip daddr %s tcp dport %d accept comment \"what clouds tell a machine\"", internetLink, metadataService, metadataPort)})
	in, out := translation(machines)
	chain(&b, "prerouting", "nat", "dstnat", "accept", in)
	chain(&b, "postrouting", "nat", "srcnat", "accept", out)
	b.WriteString("}\n")
	return b.String()
}

func set(b *strings.Builder, name, flags string, elements []string) {
	fmt.Fprintf(b, "\tset %s {\n\t\ttype ipv4_addr\n", name)
	if flags != "" {
		fmt.Fprintf(b, "\t\t%s\n", flags)
	}
	if len(elements) > 0 {
		fmt.Fprintf(b, "\t\telements = { %s }\n", strings.Join(elements, ", "))
	}
	b.WriteString("\t}\n")
}

func chain(b *strings.Builder, hook, kind, priority, policy string, lines []string) {
	fmt.Fprintf(b, "\tchain %[1]s {\n\t\ttype %[2]s hook %[1]s priority %[3]s; policy %[4]s;\n", hook, kind, priority, policy)
	for _, line := range lines {
		fmt.Fprintf(b, "\t\t%s\n", line)
	}
	b.WriteString("\t}\n")
}

func filter(b *strings.Builder, hook string, accept []string) {
	lines := slices.Concat([]string{"ct state established,related accept"}, accept)
	if hook != "output" {
		lines = append(lines, fmt.Sprintf("iifname %q drop", internetLink))
	}
	chain(b, hook, "filter", "filter", "drop", append(lines, "reject with icmpx admin-prohibited"))
}

func forwarded(rules []provider.Rule) []string {
	var out []string
	for _, r := range rules {
		switch r.From {
		case provider.Operator:
		case provider.Trusted:
			// Only at its public address: a private one means nothing out there.
			out = append(out, fmt.Sprintf("iifname %q ct status dnat ip saddr @%s %s", internetLink, r.From, accepting(r)))
		default:
			out = append(out, fmt.Sprintf("ip saddr @%s %s", r.From, accepting(r)))
		}
	}
	return out
}

// fromOperator: the operator's connections begin in the fabric itself, as do its refusals of others'.
func fromOperator(rules []provider.Rule) []string {
	out := []string{`oifname "lo" accept`, "icmp type { destination-unreachable, time-exceeded } accept"}
	for _, r := range rules {
		if r.From == provider.Operator {
			out = append(out, accepting(r))
		}
	}
	return out
}

func accepting(r provider.Rule) string {
	to := fmt.Sprintf("ip daddr @%s", r.To.Role)
	if r.To.Role == provider.Outside {
		to = fmt.Sprintf("oifname %q", internetLink)
	}
	port := "meta l4proto { tcp, udp }"
	switch {
	case r.To.Port != 0 && r.To.Protocol != "":
		port = fmt.Sprintf("%s dport %d", r.To.Protocol, r.To.Port)
	case r.To.Port != 0:
		port += fmt.Sprintf(" th dport %d", r.To.Port)
	case r.To.Protocol != "":
		port = "meta l4proto " + r.To.Protocol
	}
	return fmt.Sprintf("%s %s accept comment %q", to, port, comment(r.Why))
}

// comment makes a text fit for nftables, which knows no escapes.
func comment(why string) string {
	why = strings.Map(func(r rune) rune {
		if r < ' ' || r == '"' || r == '\\' || r > '~' {
			return ' '
		}
		return r
	}, why)
	return why[:min(len(why), maxComment)]
}

func roles(machines []provider.Machine, rules []provider.Rule) []v1alpha1.Role {
	out := slices.Clone(v1alpha1.Roles)
	for _, m := range machines {
		out = append(out, m.Role)
	}
	for _, r := range rules {
		out = append(out, r.From, r.To.Role)
	}
	slices.Sort(out)
	noSet := []v1alpha1.Role{provider.Operator, provider.Trusted, provider.Outside}
	return slices.DeleteFunc(slices.Compact(out), func(r v1alpha1.Role) bool { return slices.Contains(noSet, r) })
}

func trusted(prefixes []netip.Prefix) []string {
	var out []string
	for _, p := range slices.SortedFunc(slices.Values(prefixes), netip.Prefix.Compare) {
		out = append(out, p.String())
	}
	return out
}

func addresses(machines []provider.Machine, role v1alpha1.Role) []string {
	var all []netip.Addr
	for _, m := range machines {
		if m.Role == role {
			all = append(all, m.Address)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	var out []string
	for _, a := range slices.Compact(all) {
		out = append(out, a.String())
	}
	return out
}

// loadRules replaces the rules of a network namespace, all at once or not at all.
func loadRules(ctx context.Context, namespace, rules string) error {
	return inNamespace(namespace, func() error {
		_, err := nft(ctx, rules, "-f", "-")
		return err
	})
}

func rulesExist(ctx context.Context, namespace string) bool {
	return inNamespace(namespace, func() error {
		_, err := nft(ctx, "", "list", "table", "inet", "ashlar")
		return err
	}) == nil
}

// rulesDiffer compares what nft says of the namespace with what it says of a scratch one that has just the wanted rules.
func rulesDiffer(ctx context.Context, namespace, rules string) (bool, error) {
	var have, want []byte
	err := inNamespace(namespace, func() (err error) {
		have, err = nft(ctx, "", "-s", "list", "ruleset")
		return err
	})
	if err != nil {
		return false, err
	}
	err = inScratch(unix.CLONE_NEWNET, func() (err error) {
		if _, err := nft(ctx, rules, "-f", "-"); err != nil {
			return err
		}
		want, err = nft(ctx, "", "-s", "list", "ruleset")
		return err
	})
	return !bytes.Equal(have, want), err
}

// nft runs in the network namespace of the calling thread.
func nft(ctx context.Context, input string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "nft", args...)
	cmd.Stdin = strings.NewReader(input)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("nft %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return out.Bytes(), nil
}
