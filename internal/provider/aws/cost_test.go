package aws_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"ashlar.dev/ashlar/internal/provider/aws"
)

// prices are of one region, in dollars an hour, or a month.
type prices struct {
	Instances     map[string]float64
	NATGateway    float64
	LoadBalancer  float64
	PublicAddress float64
	GP3GiBMonth   float64
	KMSKeyMonth   float64
}

type priceTable struct {
	HoursPerMonth float64
	Regions       map[string]prices
}

// cost is what a cluster costs in an hour at least, by what it is for: with groups at their smallest, and without traffic.
func (t priceTable) cost(v aws.Variables) (machines, disks, network, total float64, err error) {
	p, ok := t.Regions[v.Region]
	if !ok {
		return 0, 0, 0, 0, fmt.Errorf("no prices of %s", v.Region)
	}
	gib := 0
	instances := func(n int, kind string) {
		price, known := p.Instances[kind]
		if !known {
			err = fmt.Errorf("no price of %s", kind)
		}
		machines += float64(n) * price
	}
	for _, m := range v.Machines {
		instances(1, m.InstanceType)
		gib += m.VolumeGiB + m.DataVolumeGiB
		if m.Role == "bastion" {
			network += p.PublicAddress
		}
	}
	for _, g := range v.Groups {
		instances(g.Min, g.InstanceType)
		size := g.VolumeGiB
		for _, x := range g.ExtraVolumes {
			size += x.GiB
		}
		gib += g.Min * size
	}
	zones := float64(len(v.Zones))
	if v.ExistingVPC == nil {
		network += zones * (p.NATGateway + p.PublicAddress)
	}
	network += p.LoadBalancer // of the API
	network += float64(len(v.Services)) * (p.LoadBalancer + zones*p.PublicAddress)
	disks = float64(gib) * p.GP3GiBMonth / t.HoursPerMonth
	keys := 3 * p.KMSKeyMonth / t.HoursPerMonth // of Vault, of backups, of the state
	return machines, disks, network, machines + disks + network + keys, err
}

// TestCosts: the table in docs/aws.md is computed from the examples and testdata/prices.json.
func TestCosts(t *testing.T) {
	b, err := os.ReadFile("testdata/prices.json")
	if err != nil {
		t.Fatal(err)
	}
	var table priceTable
	if err := json.Unmarshal(b, &table); err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("| Example | Region | Machines | Disks | Network | Together, an hour | 730 hours |\n|---|---|---:|---:|---:|---:|---:|\n")
	for _, name := range []string{"aws-single", "aws-ha", "aws-existing-vpc"} {
		b, err := os.ReadFile("testdata/" + name + ".tfvars.json")
		if err != nil {
			t.Fatal(err)
		}
		var v aws.Variables
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		machines, disks, network, total, err := table.cost(v)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&want, "| `%s.yaml` | %s | $%.2f | $%.2f | $%.2f | **$%.2f** | $%.0f |\n", name, v.Region, machines, disks, network, total, total*table.HoursPerMonth)
	}
	const page, begin, end = "../../../docs/aws.md", "<!-- costs -->\n", "<!-- /costs -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, opened := strings.Cut(string(text), begin)
	have, after, closed := strings.Cut(rest, end)
	if !opened || !closed {
		t.Fatalf("%s lacks %q or %q", page, begin, end)
	}
	if have == want.String() {
		return
	}
	if !*update {
		t.Fatalf("%s has other costs; `go test ./internal/provider/aws -run TestCosts -update` writes\n%s", page, want.String())
	}
	if err := os.WriteFile(page, []byte(before+begin+want.String()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
