package phase

import (
	"testing"

	"ashlar.dev/ashlar/internal/unit"
)

func TestMember(t *testing.T) {
	for text, want := range map[string]etcdMember{
		`[{"Endpoint":"https://etcd-0:2379","Status":{"header":{"member_id":18446744073709551615},"leader":7}}]`: {18446744073709551615, false},
		`[{"Endpoint":"https://etcd-1:2379","Status":{"header":{"member_id":7},"leader":7}}]`:                    {7, true},
		`[{"Endpoint":"https://etcd-1:2379","Status":{"header":{"member_id":7}}}]`:                               {7, false},
	} {
		if got, err := parseMember([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "[]", "{}"} {
		if _, err := parseMember([]byte(text)); err == nil {
			t.Errorf("%q is an answer", text)
		}
	}
}

func TestHeir(t *testing.T) {
	members := []unit.Machine{{Name: "etcd-0"}, {Name: "etcd-1"}, {Name: "etcd-2"}}
	for want, told := range map[string][]string{"etcd-0": {"etcd-0"}, "etcd-2": {"worker-0"}} {
		if got := heir(members, "etcd-1", told); got != want {
			t.Errorf("told %v: %s, want %s", told, got, want)
		}
	}
	if got := heir(members, "etcd-2", []string{"etcd-2"}); got != "etcd-1" {
		t.Errorf("it hands over to %s", got)
	}
}
