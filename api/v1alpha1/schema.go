package v1alpha1

import (
	"embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What users and editors read about the file comes from here, so that it cannot say something else than the code.
//
//go:embed types.go access.go aws.go exposure.go isolation.go networkpolicy.go ssh.go
var sources embed.FS

// rules are what the schema says beyond the types, by path: as much of Validate as an editor can check alone.
var rules = map[string]map[string]any{
	"apiVersion":                      {"const": APIVersion},
	"kind":                            {"const": Kind},
	"metadata.name":                   {"pattern": labelPattern, "maxLength": maxClusterName},
	"spec.kubernetesVersion":          {"pattern": versionPattern},
	"spec.provider":                   {"minProperties": 1, "maxProperties": 1},
	"spec.provider.local.machineCIDR": {"pattern": cidrPattern},
	"spec.pools":                      {"minItems": 2},
	"spec.pools[].name":               {"pattern": labelPattern, "maxLength": maxPoolName},
	"spec.pools[].role":               {"enum": Roles},
	"spec.pools[].count":              {"minimum": 1, "maximum": MaxMachines},
	"spec.network.podCIDR":            {"pattern": cidrPattern},
	"spec.network.serviceCIDR":        {"pattern": cidrPattern},
	"spec.network.clusterDomain":      {"pattern": clusterDomainPattern, "maxLength": maxClusterDomain},

	"spec.provider.aws.region":                {"pattern": regionPattern},
	"spec.provider.aws.zones":                 {"minItems": 1, "maxItems": maxZones, "items": map[string]any{"type": "string", "pattern": zonePattern}},
	"spec.provider.aws.vpcCIDR":               {"pattern": cidrPattern},
	"spec.provider.aws.vpc.id":                {"pattern": vpcPattern},
	"spec.provider.aws.vpc.publicSubnets":     {"minItems": 1, "maxItems": maxZones, "items": map[string]any{"type": "string", "pattern": subnetPattern}},
	"spec.provider.aws.vpc.privateSubnets":    {"minItems": 1, "maxItems": maxZones, "items": map[string]any{"type": "string", "pattern": subnetPattern}},
	"spec.provider.aws.image":                 {"pattern": imagePattern},
	"spec.provider.aws.stateBucket":           {"pattern": bucketPattern},
	"spec.provider.aws.jenkins.repository":    {"pattern": repositoryPattern},
	"spec.provider.aws.jenkins.branch":        {"pattern": pathPattern},
	"spec.provider.aws.jenkins.file":          {"pattern": pathPattern},
	"spec.pools[].aws.instanceType":           {"pattern": instanceTypePattern},
	"spec.pools[].aws.volumeGiB":              {"minimum": 8, "maximum": maxVolumeGiB},
	"spec.pools[].aws.dataVolumeGiB":          {"minimum": 1, "maximum": maxVolumeGiB},
	"spec.pools[].aws.max":                    {"minimum": 1, "maximum": MaxMachines},
	"spec.pools[].aws.extraVolumes[].device":  {"pattern": devicePattern},
	"spec.pools[].aws.extraVolumes[].gib":     {"minimum": 1, "maximum": maxVolumeGiB},
	"spec.pools[].aws.taints":                 {"items": map[string]any{"type": "string", "pattern": taintPattern}},
	"spec.exposure.services[].certificateARN": {"pattern": certificatePattern},

	"spec.network.policy.rules":                    {"maxItems": maxRules},
	"spec.network.policy.rules[].name":             {"pattern": labelPattern, "maxLength": maxRuleName},
	"spec.network.policy.rules[].ports[].protocol": {"enum": protocols},
	"spec.network.policy.rules[].ports[].port":     {"minimum": 1, "maximum": maxPort},
	"spec.network.policy.rules[].ports[].endPort":  {"minimum": 1, "maximum": maxPort},
	"spec.network.policy.sets[].name":              {"pattern": labelPattern, "maxLength": maxRuleName},
	"spec.network.policy.sets[].cidrs":             {"minItems": 1},
	"spec.network.policy.open[].namespace":         {"pattern": labelPattern, "maxLength": maxNamespace},

	"spec.isolation.classes":                      {"maxItems": MaxClasses},
	"spec.isolation.classes[].name":               {"pattern": labelPattern, "maxLength": maxClassName},
	"spec.isolation.classes[].standard":           {"enum": []string{ClassRestricted, ClassBaseline}},
	"spec.isolation.classes[].relax":              {"items": map[string]any{"type": "string", "enum": Controls}},
	"spec.isolation.classes[].capabilities":       {"items": map[string]any{"type": "string", "pattern": capabilityPattern}},
	"spec.isolation.classes[].hostNamespaces":     {"items": map[string]any{"type": "string", "enum": hostNamespaces}},
	"spec.isolation.classes[].hostPorts[].from":   {"minimum": 1, "maximum": maxPort},
	"spec.isolation.classes[].hostPorts[].to":     {"minimum": 1, "maximum": maxPort},
	"spec.isolation.classes[].hostPaths[].prefix": {"pattern": "^/"},
	"spec.isolation.classes[].runAsUser[].from":   {"minimum": 0, "maximum": maxID},
	"spec.isolation.classes[].runAsUser[].to":     {"minimum": 0, "maximum": maxID},
	"spec.isolation.classes[].seccomp":            {"items": map[string]any{"type": "string", "pattern": seccompPattern}},
	"spec.isolation.classes[].disk.readOps":       {"minimum": 0},
	"spec.isolation.classes[].disk.writeOps":      {"minimum": 0},
	"spec.isolation.grants[].namespaces":          {"items": map[string]any{"type": "string", "pattern": labelPattern, "maxLength": maxNamespace}},
	"spec.isolation.tiers[].name":                 {"pattern": labelPattern, "maxLength": maxNamespace},

	"spec.authentication.identityProvider.issuer":      {"pattern": issuerPattern},
	"spec.authentication.identityProvider.userClaim":   {"pattern": wordPattern},
	"spec.authentication.identityProvider.groupsClaim": {"pattern": wordPattern},
	"spec.authentication.robots[].name":                {"pattern": userPattern},
	"spec.authentication.robots[].groups":              {"items": map[string]any{"type": "string", "pattern": userPattern}},
	"spec.authentication.robots[].cidrs":               {"minItems": 1},
	"spec.authentication.oidc":                         {"maxItems": maxIssuers},
	"spec.authentication.oidc[].issuer":                {"pattern": issuerPattern},
	"spec.authentication.oidc[].audiences":             {"minItems": 1},
	"spec.authentication.staticTokens[].name":          {"pattern": userPattern},
	"spec.authentication.staticTokens[].sha256":        {"pattern": sha256Pattern},
	"spec.authentication.staticTokens[].reason":        {"minLength": minReason},
	"spec.exposure.trustedCIDRs":                       {"items": map[string]any{"type": "string", "pattern": cidrPattern}},
	"spec.exposure.services[].name":                    {"pattern": labelPattern, "maxLength": maxNamespace},
	"spec.exposure.services[].port":                    {"minimum": 1, "maximum": 65535},
	"spec.exposure.services[].targetPort":              {"minimum": 1, "maximum": 65535},
	"spec.exposure.services[].hostnames":               {"items": map[string]any{"type": "string", "pattern": hostnamePattern}},
	"spec.exposure.services[].pool":                    {"pattern": labelPattern, "maxLength": maxPoolName},
	"spec.authorization.mode":                          {"enum": AuthorizationModes},
	"spec.authorization.serviceAccounts[].namespace":   {"pattern": labelPattern, "maxLength": maxNamespace},
	"spec.authorization.serviceAccounts[].abac":        {"enum": Accesses},
	"spec.authorization.serviceAccounts[].rbac":        {"enum": Accesses},
	"spec.ssh[].group":                                 {"pattern": sshGroupPattern},
	"spec.ssh[].roles":                                 {"minItems": 1, "items": map[string]any{"type": "string", "enum": Roles}},
}

const (
	cidrPattern     = `^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$`
	durationPattern = `^([0-9]+(\.[0-9]+)?(h|m|s|ms|us|ns))+$`
)

// field is one line of the reference, or one object of the schema.
type field struct {
	path     string // pools[] stands for each pool
	typ      reflect.Type
	required bool
	value    string // the default, if there is one
	doc      string
	fields   []field // of a struct, or of a list's items if they are structs
}

// kind is the type as JSON knows it.
func (f field) kind() string {
	switch {
	case f.typ == durationType, f.typ == timeType, f.typ.Kind() == reflect.String:
		return "string"
	case f.typ.Kind() == reflect.Int:
		return "integer"
	case f.typ.Kind() == reflect.Bool:
		return "boolean"
	case f.typ.Kind() == reflect.Slice:
		return "array"
	default:
		return "object"
	}
}

// describeFields reads a struct; v holds the defaults.
func describeFields(path string, v reflect.Value, docs map[string]string) []field {
	var out []field
	for f, value := range v.Fields() {
		if value.Kind() == reflect.Pointer {
			if value.IsNil() {
				value = reflect.New(f.Type.Elem())
			}
			value = value.Elem()
		}
		d := field{
			path: join(path, jsonName(f)), typ: value.Type(),
			required: !strings.Contains(f.Tag.Get("json"), ",omit"),
			doc:      docs[v.Type().Name()+"."+f.Name],
		}
		switch {
		case d.typ == durationType:
			if ttl := value.Interface().(metav1.Duration).Duration; ttl != 0 {
				d.value = short(ttl)
			}
		case value.Kind() == reflect.String:
			d.value = value.String()
		case value.Kind() == reflect.Slice && isObject(d.typ.Elem()):
			d.fields = describeFields(d.path+"[]", reflect.Zero(d.typ.Elem()), docs)
		case isObject(d.typ):
			d.fields = describeFields(d.path, value, docs)
		}
		out = append(out, d)
	}
	return out
}

// describeCluster reads the types and what is written about them.
func describeCluster() []field {
	docs := map[string]string{}
	for _, name := range []string{"types.go", "access.go", "aws.go", "exposure.go", "isolation.go", "networkpolicy.go", "ssh.go"} {
		source, err := sources.ReadFile(name)
		if err == nil {
			err = readDocs(docs, name, source)
		}
		if err != nil {
			panic("v1alpha1: the embedded types do not parse: " + err.Error()) // they compiled
		}
	}
	defaults := Cluster{Spec: Spec{Provider: Provider{Local: &Local{}}, Authentication: Authentication{IdentityProvider: &IdentityProvider{}}}}
	Default(&defaults)
	aws := Spec{Provider: Provider{AWS: &AWS{Jenkins: &AWSJenkins{}}}}
	defaultAWS(&aws)
	defaults.Spec.Provider.AWS = aws.Provider.AWS
	return describeFields("", reflect.ValueOf(defaults), docs)
}

// readDocs adds the comment of each field in a file, by <type>.<field>.
func readDocs(docs map[string]string, name string, source []byte) error {
	file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ParseComments)
	if err != nil {
		return err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range s.Fields.List {
				for _, name := range f.Names {
					docs[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
		}
		return false
	})
	return nil
}

// Schema returns the JSON Schema (draft 2020-12) of a cluster file, for editors. Decode refuses more than it can.
func Schema() []byte {
	schema := object(describeCluster())
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "Ashlar cluster"
	out, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		panic("v1alpha1: the schema is no JSON: " + err.Error()) // it is made of maps and strings
	}
	return append(out, '\n')
}

func object(fields []field) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, f := range fields {
		key := f.path[strings.LastIndex(f.path, ".")+1:]
		properties[key] = f.schema()
		if f.required {
			required = append(required, key)
		}
	}
	out := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

func (f field) schema() map[string]any {
	out := map[string]any{"type": f.kind()}
	switch {
	case f.typ == durationType:
		out["pattern"] = durationPattern
	case f.typ == timeType:
		out["format"] = "date-time"
	case f.kind() == "array" && f.fields == nil:
		out["items"] = map[string]any{"type": "string"}
	case f.kind() == "array":
		out["items"] = object(f.fields)
	case f.typ.Kind() == reflect.Map:
		out["additionalProperties"] = map[string]any{"type": "string"}
	case f.kind() == "object":
		out = object(f.fields)
	}
	out["description"] = f.doc
	if f.value != "" {
		out["default"] = f.value
	}
	for keyword, value := range rules[f.path] {
		out[keyword] = value
	}
	return out
}

const referenceHead = `# cluster.yaml

The file that ` + "`ashlar`" + ` builds a cluster from. ` + "`ashlar init`" + ` writes one with every default and a comment each; [local.yaml](../../examples/local.yaml)
and [ha.yaml](../../examples/ha.yaml) are examples. A key that is not listed here is an error. The [JSON Schema](cluster.schema.json)
lets an editor complete and check the file. Durations are written as ` + "`90s`, `10m` or `24h`" + `, times as
` + "`2027-01-31T00:00:00Z`, or `2027-01-31`" + ` for the first moment of that day in UTC. Expressions over claims are [CEL](https://cel.dev).

This page is generated from ` + "`types.go`, `access.go`, `aws.go`, `exposure.go`, `isolation.go` and `ssh.go` in `api/v1alpha1`" + `.

| Field | Type | Default | Description |
|---|---|---|---|
`

// Reference returns the documentation of a cluster file, as Markdown.
func Reference() []byte {
	var b strings.Builder
	b.WriteString(referenceHead)
	writeRows(&b, describeCluster())
	return []byte(b.String())
}

func writeRows(b *strings.Builder, fields []field) {
	for _, f := range fields {
		kind, value := f.kind(), ""
		switch {
		case f.typ == durationType:
			kind = "duration"
		case f.typ == timeType:
			kind = "time"
		case kind == "array":
			kind = "list"
		case f.typ.Kind() == reflect.Map:
			kind = "texts by name"
		}
		switch {
		case f.value != "":
			value = "`" + f.value + "`"
		case f.required:
			value = "required"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.path, kind, value, f.doc)
		writeRows(b, f.fields)
	}
}
