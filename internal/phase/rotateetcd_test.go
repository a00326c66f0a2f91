package phase

import "testing"

func TestMembersAndHeir(t *testing.T) {
	members, err := parseMembers([]byte(`[{"Endpoint":"https://etcd-0:2379","Status":{"header":{"member_id":18446744073709551615},"leader":7}},
		{"Endpoint":"https://etcd-1:2379","Status":{"header":{"member_id":7},"leader":7}}, {"Endpoint":"https://etcd-2:2379","Status":{"header":{"member_id":8},"leader":7}}]`))
	if err != nil || len(members) != 3 || members["etcd-0"].leads || !members["etcd-1"].leads || members["etcd-0"].id != 18446744073709551615 {
		t.Errorf("%+v, %v", members, err)
	}
	for want, told := range map[string][]string{"etcd-0": {"etcd-0"}, "etcd-2": {"etcd-1"}} {
		if got := heir(members, "etcd-1", told); got != want {
			t.Errorf("told %v: %s, want %s", told, got, want)
		}
	}
	if got := heir(map[string]etcdMember{"etcd-0": {}}, "etcd-0", nil); got != "" {
		t.Errorf("the only one hands over to %s", got)
	}
}
