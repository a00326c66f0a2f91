// Package simulate is a stand-in for the AWS provider: it speaks the plugin protocol, with the real provider's schema,
// and makes up what AWS would answer. The decisions are plain functions over values (plan.go, fill.go, check.go, data.go);
// what is known of each type is in the tables of kinds_*.go; this file only carries values in and out.
package simulate

import (
	"context"
	"fmt"
	"sync"

	proto "github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/msgpack"

	"ashlar.dev/ashlar/test/aws/schema"
)

// Server is one provider process.
type Server struct {
	proto.ProviderServer // what a provider without functions and ephemeral resources is never asked

	schema  *schema.Provider
	world   *World
	account string
	region  string
	tags    map[string]cty.Value // default_tags

	applying sync.Mutex // what else there is must not change between a look at it and what follows from that
}

// New makes a provider of an account, whose objects are kept in world.
func New(s *schema.Provider, w *World, account string) *Server {
	return &Server{schema: s, world: w, account: account}
}

// GetMetadata lists the types.
func (s *Server) GetMetadata(context.Context, *proto.GetMetadataRequest) (*proto.GetMetadataResponse, error) {
	out := &proto.GetMetadataResponse{}
	for name := range s.schema.Resources {
		out.Resources = append(out.Resources, proto.ResourceMetadata{TypeName: name})
	}
	for name := range s.schema.Data {
		out.DataSources = append(out.DataSources, proto.DataSourceMetadata{TypeName: name})
	}
	return out, nil
}

// GetProviderSchema returns the real provider's schema.
func (s *Server) GetProviderSchema(context.Context, *proto.GetProviderSchemaRequest) (*proto.GetProviderSchemaResponse, error) {
	config, err := s.schema.Config.Proto()
	if err != nil {
		return nil, err
	}
	out := &proto.GetProviderSchemaResponse{
		Provider: config, ResourceSchemas: map[string]*proto.Schema{}, DataSourceSchemas: map[string]*proto.Schema{},
	}
	for name, b := range s.schema.Resources {
		if out.ResourceSchemas[name], err = b.Proto(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, b := range s.schema.Data {
		if out.DataSourceSchemas[name], err = b.Proto(); err != nil {
			return nil, fmt.Errorf("data %s: %w", name, err)
		}
	}
	return out, nil
}

// GetResourceIdentitySchemas returns none.
func (s *Server) GetResourceIdentitySchemas(
	context.Context, *proto.GetResourceIdentitySchemasRequest,
) (*proto.GetResourceIdentitySchemasResponse, error) {
	return &proto.GetResourceIdentitySchemasResponse{}, nil
}

// GetFunctions returns none.
func (s *Server) GetFunctions(context.Context, *proto.GetFunctionsRequest) (*proto.GetFunctionsResponse, error) {
	return &proto.GetFunctionsResponse{}, nil
}

// PrepareProviderConfig accepts what the schema does.
func (s *Server) PrepareProviderConfig(_ context.Context, r *proto.PrepareProviderConfigRequest) (*proto.PrepareProviderConfigResponse, error) {
	return &proto.PrepareProviderConfigResponse{PreparedConfig: r.Config}, nil
}

// ConfigureProvider takes the region and the default tags; credentials are neither needed nor looked at.
func (s *Server) ConfigureProvider(_ context.Context, r *proto.ConfigureProviderRequest) (*proto.ConfigureProviderResponse, error) {
	out := &proto.ConfigureProviderResponse{}
	config, err := decode(r.Config, s.schema.Config.Type())
	if err != nil {
		return nil, err
	}
	s.region, s.tags = regionFromEnvironment(), map[string]cty.Value{}
	if v := config.GetAttr("region"); known(v) {
		s.region = v.AsString()
	}
	if s.region == "" {
		out.Diagnostics = failed("Invalid AWS Region", "Neither the provider's configuration nor AWS_REGION names one.")
	}
	if v := config.GetAttr("default_tags"); known(v) {
		for _, block := range v.AsValueSlice() {
			if tags := block.GetAttr("tags"); known(tags) {
				s.tags = tags.AsValueMap()
			}
		}
	}
	return out, nil
}

// StopProvider has nothing to interrupt.
func (s *Server) StopProvider(context.Context, *proto.StopProviderRequest) (*proto.StopProviderResponse, error) {
	return &proto.StopProviderResponse{}, nil
}

// ValidateResourceTypeConfig checks what the schema cannot say.
func (s *Server) ValidateResourceTypeConfig(
	_ context.Context, r *proto.ValidateResourceTypeConfigRequest,
) (*proto.ValidateResourceTypeConfigResponse, error) {
	config, err := decode(r.Config, s.schema.Resources[r.TypeName].Type())
	if err != nil {
		return nil, err
	}
	return &proto.ValidateResourceTypeConfigResponse{Diagnostics: problems(check(r.TypeName, s.schema.Resources[r.TypeName], config))}, nil
}

// PlanResourceChange says what a change would come to.
func (s *Server) PlanResourceChange(_ context.Context, r *proto.PlanResourceChangeRequest) (*proto.PlanResourceChangeResponse, error) {
	b := s.schema.Resources[r.TypeName]
	prior, proposed, config, err := decode3(b.Type(), r.PriorState, r.ProposedNewState, r.Config)
	if err != nil {
		return nil, err
	}
	planned, replace := proposed, []cty.Path(nil)
	if !proposed.IsNull() {
		planned, replace = s.plan(r.TypeName, b, prior, proposed, config)
	}
	state, err := encode(planned, b.Type())
	if err != nil {
		return nil, err
	}
	out := &proto.PlanResourceChangeResponse{PlannedState: state, UnsafeToUseLegacyTypeSystem: true} //nolint:staticcheck // as the real one
	for _, p := range replace {
		out.RequiresReplace = append(out.RequiresReplace, attributePath(p))
	}
	return out, nil
}

// ApplyResourceChange makes up what AWS would make.
func (s *Server) ApplyResourceChange(_ context.Context, r *proto.ApplyResourceChangeRequest) (*proto.ApplyResourceChangeResponse, error) {
	b := s.schema.Resources[r.TypeName]
	prior, planned, config, err := decode3(b.Type(), r.PriorState, r.PlannedState, r.Config)
	if err != nil {
		return nil, err
	}
	out := &proto.ApplyResourceChangeResponse{NewState: r.PriorState, UnsafeToUseLegacyTypeSystem: true} //nolint:staticcheck // as the real one
	s.applying.Lock()
	defer s.applying.Unlock()
	made, err := s.apply(r.TypeName, b, prior, planned, config)
	if err != nil {
		out.Diagnostics = problems([]error{err})
		return out, nil
	}
	out.NewState, err = encode(made, b.Type())
	return out, err
}

// ReadResource returns the object as it is in the world now: a test may have changed it there.
func (s *Server) ReadResource(_ context.Context, r *proto.ReadResourceRequest) (*proto.ReadResourceResponse, error) {
	b := s.schema.Resources[r.TypeName]
	current, err := decode(r.CurrentState, b.Type())
	if err != nil {
		return nil, err
	}
	now, err := s.world.read(r.TypeName, current)
	if err != nil {
		return &proto.ReadResourceResponse{NewState: r.CurrentState, Diagnostics: problems([]error{err})}, nil
	}
	state, err := encode(now, b.Type())
	return &proto.ReadResourceResponse{NewState: state, Private: r.Private}, err
}

// ImportResourceState finds an object of the world by its id.
func (s *Server) ImportResourceState(_ context.Context, r *proto.ImportResourceStateRequest) (*proto.ImportResourceStateResponse, error) {
	b := s.schema.Resources[r.TypeName]
	found, err := s.world.get(r.TypeName, r.ID, b.Type())
	if err != nil {
		return &proto.ImportResourceStateResponse{Diagnostics: problems([]error{err})}, nil
	}
	state, err := encode(found, b.Type())
	return &proto.ImportResourceStateResponse{ImportedResources: []*proto.ImportedResource{{TypeName: r.TypeName, State: state}}}, err
}

// UpgradeResourceState reads a state as it was written: there is only one version of the schema.
func (s *Server) UpgradeResourceState(_ context.Context, r *proto.UpgradeResourceStateRequest) (*proto.UpgradeResourceStateResponse, error) {
	t := s.schema.Resources[r.TypeName].Type()
	value, err := fromJSON(r.RawState.JSON, t)
	if err != nil {
		return nil, fmt.Errorf("reading the state of a %s: %w", r.TypeName, err)
	}
	state, err := encode(value, t)
	return &proto.UpgradeResourceStateResponse{UpgradedState: state}, err
}

// ValidateDataSourceConfig checks what the schema cannot say.
func (s *Server) ValidateDataSourceConfig(
	_ context.Context, r *proto.ValidateDataSourceConfigRequest,
) (*proto.ValidateDataSourceConfigResponse, error) {
	config, err := decode(r.Config, s.schema.Data[r.TypeName].Type())
	if err != nil {
		return nil, err
	}
	return &proto.ValidateDataSourceConfigResponse{Diagnostics: problems(readOnly(s.schema.Data[r.TypeName], config))}, nil
}

// ReadDataSource makes up what AWS would answer.
func (s *Server) ReadDataSource(_ context.Context, r *proto.ReadDataSourceRequest) (*proto.ReadDataSourceResponse, error) {
	t := s.schema.Data[r.TypeName].Type()
	config, err := decode(r.Config, t)
	if err != nil {
		return nil, err
	}
	found, err := s.look(r.TypeName, s.schema.Data[r.TypeName], config)
	if err != nil {
		return &proto.ReadDataSourceResponse{Diagnostics: problems([]error{fmt.Errorf("%s: %w", r.TypeName, err)})}, nil
	}
	state, err := encode(found, t)
	return &proto.ReadDataSourceResponse{State: state}, err
}

func decode(v *proto.DynamicValue, t cty.Type) (cty.Value, error) {
	if v == nil {
		return cty.NullVal(t), nil
	}
	if len(v.MsgPack) == 0 {
		return fromJSON(v.JSON, t)
	}
	return msgpack.Unmarshal(v.MsgPack, t)
}

func decode3(t cty.Type, in ...*proto.DynamicValue) (a, b, c cty.Value, err error) {
	for i, to := range []*cty.Value{&a, &b, &c} {
		if *to, err = decode(in[i], t); err != nil {
			return a, b, c, err
		}
	}
	return a, b, c, nil
}

func encode(v cty.Value, t cty.Type) (*proto.DynamicValue, error) {
	packed, err := msgpack.Marshal(v, t)
	return &proto.DynamicValue{MsgPack: packed}, err
}

func failed(summary, detail string) []*proto.Diagnostic {
	return []*proto.Diagnostic{{Severity: proto.DiagnosticSeverityError, Summary: summary, Detail: detail}}
}

func problems(errs []error) (out []*proto.Diagnostic) {
	for _, err := range errs {
		out = append(out, failed(err.Error(), "")...)
	}
	return out
}
