package v1alpha1

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
)

// Limits of expressions. The API server has wider ones or none, but would compile for minutes what these keep out.
const (
	maxExpressions = 64 << 10 // all together
	maxExpression  = 1024
	maxDepth       = 30
	maxOptMaps     = 3 // each is a macro that repeats what it is called on, more than twice over
)

// claimsEnv is what an expression over claims may use. It is that of the API server (k8s.io/apiserver/pkg/cel/environment), less
// those of its libraries that are about quantities, addresses, versions and URLs: an expression that passes here passes there.
var claimsEnv = sync.OnceValue(func() *cel.Env {
	text := cel.StringType
	env, err := cel.NewEnv(
		cel.Variable("claims", cel.MapType(text, cel.AnyType)),
		cel.ParserRecursionLimit(maxDepth),
		cel.HomogeneousAggregateLiterals(),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(), cel.ValidateHomogeneousAggregateLiterals()),
		ext.Strings(ext.StringsVersion(2)),
		ext.Sets(),
		ext.TwoVarComprehensions(),
		ext.Lists(ext.ListsVersion(3)),
		// Kubernetes' own; expressions are not run here, so that it is enough to say that they exist.
		cel.Function("find", cel.MemberOverload("string_find_string", []*cel.Type{text, text}, text)),
		cel.Function("findAll",
			cel.MemberOverload("string_find_all_string", []*cel.Type{text, text}, cel.ListType(text)),
			cel.MemberOverload("string_find_all_string_int", []*cel.Type{text, text, cel.IntType}, cel.ListType(text))),
	)
	if err != nil {
		panic("v1alpha1: the environment of expressions is no CEL: " + err.Error()) // a mistake above
	}
	return env
})

// compile checks an expression, and returns nil if something is wrong with it. What a claim is shows only in a token, so that
// anything passes for text or a list. It does not for true or false, where the API server insists on a bool.
func (e *Errors) compile(path, expression, what string, allowed ...*cel.Type) *cel.Ast {
	switch optMaps := strings.Count(expression, "optMap") + strings.Count(expression, "optFlatMap"); {
	case expression == "":
		e.add(path, "is required")
		return nil
	case len(expression) > maxExpression:
		e.add(path, "must have at most %d characters, not %d", maxExpression, len(expression))
		return nil
	case optMaps > maxOptMaps:
		e.add(path, "must use optMap and optFlatMap at most %d times, not %d", maxOptMaps, optMaps)
		return nil
	}
	checked, issues := claimsEnv().Compile(expression)
	if issues.Err() != nil {
		e.add(path, "is not CEL over claims: %s", celMessage(issues))
		return nil
	}
	out := checked.OutputType()
	anything := out.Kind() == types.DynKind || out.Kind() == types.AnyKind
	switch {
	case slices.ContainsFunc(allowed, out.IsExactType), anything && allowed[0] != cel.BoolType:
		return checked
	case anything:
		e.add(path, `must be %s whatever the claims are: compare with something, as in claims.hd == "example.org"`, what)
	default:
		e.add(path, "must be %s, not %s", what, oneLine(out.String()))
	}
	return nil
}

func expressionsLength(issuers []OIDCIssuer) int {
	n := 0
	for _, o := range issuers {
		n += len(o.Username) + len(o.Groups)
		for _, r := range o.Rules {
			n += len(r.Expression)
		}
	}
	return n
}

// celMessage is what CEL has to say, with line and column in the expression.
func celMessage(issues *cel.Issues) string {
	var all []string
	for _, issue := range issues.Errors() {
		message := strings.TrimSuffix(issue.Message, " (in container '')")
		if strings.Contains(message, "cannot be range of a comprehension") {
			message += "; a claim that is a list is written dyn(claims.groups)"
		}
		if line := issue.Location.Line(); line > 0 {
			message = fmt.Sprintf("%d:%d: %s", line, issue.Location.Column()+1, message)
		}
		all = append(all, message)
	}
	return oneLine(strings.Join(all, "; "))
}

// oneLine makes what repeats a part of the file fit for a line of a terminal.
func oneLine(s string) string {
	const most = 240
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + "…"
	}
	return strings.Join(strings.Fields(s), " ")
}

// selects says whether an expression has claims.<name>, or claims.?<name>: the forms that the API server looks for.
func selects(a *cel.Ast, name string) bool {
	return has(a, func(e ast.Expr) bool {
		return e.Kind() == ast.SelectKind && isClaims(e.AsSelect().Operand()) && e.AsSelect().FieldName() == name || indexes(e, name, operators.OptSelect)
	})
}

// mentions is selects or claims["<name>"], which the API server overlooks.
func mentions(a *cel.Ast, name string) bool {
	return selects(a, name) || has(a, func(e ast.Expr) bool { return indexes(e, name, operators.Index, operators.OptIndex) })
}

func has(a *cel.Ast, match func(ast.Expr) bool) bool {
	found := ast.MatchDescendants(ast.NavigateAST(a.NativeRep()), func(e ast.NavigableExpr) bool { return match(e) })
	return len(found) > 0
}

func isClaims(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == "claims" }

func indexes(e ast.Expr, name string, by ...string) bool {
	if e.Kind() != ast.CallKind || !slices.Contains(by, e.AsCall().FunctionName()) {
		return false
	}
	args := e.AsCall().Args()
	return len(args) == 2 && isClaims(args[0]) && args[1].Kind() == ast.LiteralKind && args[1].AsLiteral().Equal(types.String(name)) == types.True
}
