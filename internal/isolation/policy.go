package isolation

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// PolicyName is the policy that refuses pods what their class does not allow, and its binding.
const PolicyName = "ashlar-pod-class"

const (
	// most is how many violations a refusal spells out: the API server drops a message of more than 5 KiB.
	most = 8
	// grantedBy is who may grant a class.
	grantedBy = "Administrators grant classes: spec.isolation.grants of cluster.yaml, then `ashlar up`."
)

// Policies are the admission policy of the classes, and its binding.
func Policies(classes []Class) []*unstructured.Unstructured {
	object := func(kind string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
			"metadata": map[string]any{"name": PolicyName}, "spec": spec}}
	}
	return []*unstructured.Unstructured{
		object("ValidatingAdmissionPolicy", map[string]any{
			"failurePolicy": "Fail",
			"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
				"apiGroups": []any{""}, "apiVersions": []any{"*"}, "operations": []any{"CREATE", "UPDATE"},
				"resources": []any{"pods", "pods/ephemeralcontainers", "pods/status", "pods/resize"},
			}}},
			// Of a pod that exists nothing else can change that a class speaks of. What other updates are about passes, so that
			// a pod of before a class was changed can still be looked after, and goes when it is deleted.
			"matchConditions": []any{map[string]any{"name": "new", "expression": `request.operation == "CREATE" || ` +
				`request.?subResource.orValue("") == "ephemeralcontainers" || ` + classOf("object") + " != " + classOf("oldObject")}},
			"variables":   variables(classes),
			"validations": validations(classes),
		}),
		object("ValidatingAdmissionPolicyBinding", map[string]any{"policyName": PolicyName, "validationActions": []any{"Deny", "Audit"}}),
	}
}

// classOf is the name of an object's class.
func classOf(object string) string {
	return object + `.metadata.?labels[?"` + LabelClass + `"].orValue("` + Restricted + `")`
}

func variable(name, expression string) map[string]any {
	return map[string]any{"name": name, "expression": expression}
}

// variables are worked out when they are first asked for: of the classes, that of the pod alone, until the pod is refused.
func variables(classes []Class) []any {
	out := []any{
		variable("class", classOf("object")),
		variable("account", `object.spec.?serviceAccountName.orValue("") == "" ? "default" : object.spec.serviceAccountName`),
		variable("pod", `object.spec.?securityContext.orValue({})`),
		variable("containers", containers("containers")+" + "+containers("initContainers")+" + "+containers("ephemeralContainers")),
		variable("windows", `object.spec.?os.?name.orValue("") == "windows"`),
		variable("ownUsers", `object.spec.?hostUsers.orValue(true) == false`),
		// Who else acts for others: the controllers of Kubernetes have ServiceAccounts of kube-system, which may do
		// everything in ABAC mode. Of pods that they make, the pod's ServiceAccount alone is asked.
		variable("mayUse", `variables.class == "`+Restricted+`" || `+
			`!("system:serviceaccounts:kube-system" in request.userInfo.?groups.orValue([])) && `+may("authorizer")+` || `+
			may("authorizer.serviceAccount(request.namespace, variables.account)")),
	}
	names := map[string]string{} // of an expression's variable
	taken := map[string]bool{}
	var perClass []any
	for _, class := range classes {
		var sum []string
		for _, control := range controls {
			if !class.Keeps(control.Name) {
				continue
			}
			expression := expressions[control.Name](class)
			name, ok := names[expression]
			if !ok {
				name = identifier(control.Name)
				for i := 2; taken[name]; i++ {
					name = identifier(control.Name) + strconv.Itoa(i)
				}
				names[expression], taken[name] = name, true
				out = append(out, variable(name, expression))
			}
			sum = append(sum, "variables."+name)
		}
		if len(sum) == 0 {
			sum = []string{`["x"].filter(x, false)`}
		}
		perClass = append(perClass, variable(refusedBy(class), strings.Join(sum, " + ")))
	}
	out = append(out, perClass...)
	refused, allowing := `["x"].filter(x, false)`, make([]string, 0, len(classes))
	for _, class := range byWidth(classes) {
		refused = "variables.class == " + strconv.Quote(class.Name) + " ? variables." + refusedBy(class) + " : " + refused
		allowing = append(allowing, "(variables."+refusedBy(class)+".size() == 0 ? ["+strconv.Quote(class.Name)+"] : [])")
	}
	return append(out, variable("refused", refused), variable("allowing", strings.Join(allowing, " + ")))
}

// byWidth has the one last that allows everything: what it allows, a narrower one may, too.
func byWidth(classes []Class) []Class {
	out := slices.Clone(classes)
	slices.SortStableFunc(out, func(a, b Class) int {
		return cmp.Compare(slices.Index(levels, a.Standard)/2, slices.Index(levels, b.Standard)/2)
	})
	return out
}

func containers(list string) string {
	return `object.spec.?` + list + `.orValue([]).transformList(i, c, {"at": dyn("spec.` + list + `[" + string(i) + "]"), "c": dyn(c)})`
}

func may(authorizer string) string {
	return authorizer + `.group("` + Group + `").resource("` + Resource + `").namespace(request.namespace).name(variables.class).check("` + Verb + `").allowed()`
}

func refusedBy(c Class) string { return "refusedBy_" + strings.ReplaceAll(c.Name, "-", "_") }

// identifier makes a name for CEL of a control's.
func identifier(control string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, control)
}

func validations(classes []Class) []any {
	var names []string
	for _, c := range classes {
		names = append(names, strconv.Quote(c.Name))
	}
	known := "[" + strings.Join(names, ", ") + "]"
	validation := func(expression, message, messageExpression string) map[string]any {
		return map[string]any{"expression": expression, "reason": "Forbidden", "message": message, "messageExpression": messageExpression}
	}
	return []any{
		validation(`request.operation == "CREATE" || `+classOf("object")+" == "+classOf("oldObject"), "A pod's class cannot change.",
			`"a pod's class cannot change: it is " + `+classOf("oldObject")+` + ", not " + variables.class + ". Make another pod."`),
		validation(`variables.class in `+known, "There is no such class of pods.",
			`"there is no class " + variables.class + ": label `+LabelClass+` must be one of " + `+known+`.join(", ") + "."`),
		validation(`variables.mayUse`, "The pod's class is not granted here.",
			`"class " + variables.class + " is not granted here: neither " + request.userInfo.username + " nor ServiceAccount " + request.namespace + "/" + variables.account + `+
				`" may use it in namespace " + request.namespace + ". `+grantedBy+`"`),
		validation(`variables.refused.size() == 0`, "The pod's class does not allow what the pod asks for.",
			`"class " + variables.class + " does not allow " + variables.refused.slice(0, variables.refused.size() < `+strconv.Itoa(most)+` ? variables.refused.size() : `+strconv.Itoa(most)+`).join("; ") + `+
				`(variables.refused.size() > `+strconv.Itoa(most)+` ? "; and " + string(variables.refused.size() - `+strconv.Itoa(most)+`) + " more" : "") + `+
				`(variables.allowing.size() == 0 ? ". No class does. " : ". It would be allowed by class " + variables.allowing.join(" or ") + " (label `+LabelClass+`). ") + "`+grantedBy+`"`),
	}
}
