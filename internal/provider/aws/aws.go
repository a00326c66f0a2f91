package aws

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	tfjson "github.com/hashicorp/terraform-json"
	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

// Options configure a Provider.
type Options struct {
	// Cluster is a valid one on AWS.
	Cluster *v1alpha1.Cluster
	// Network is how its machines shall be connected.
	Network provider.Network
	// Dir is the operator's directory of the cluster.
	Dir string
	// Plugins is where OpenTofu keeps its provider, which all clusters share.
	Plugins string
	// Bundle is the software bundle's directory.
	Bundle string
	// Archive makes of it what machines fetch, or finds what was made before.
	Archive func(context.Context) (Archive, error)
	// Modules are those of terraform/aws.
	Modules fs.FS
	// Tofu is the program; the bundle's, or one that is installed, if it is empty.
	Tofu string
	// Replace names machines, and data, that may be replaced or lost.
	Replace []string
	// Unlock is the id of a lock of the state that nobody holds any more.
	Unlock string
	// Enter returns what a machine lets the operator in by, as root.
	Enter func(ctx context.Context, machine string) (Entry, error)
}

// Provider is a provider.Provider whose machines are EC2 instances. It is safe for concurrent use.
type Provider struct {
	Options

	mu      sync.Mutex
	config  *aws.Config
	account string
	sealed  string           // the ARN of the key that encrypts the state
	outputs *Outputs         // as they were read last
	heard   []types.Instance // what EC2 said last
	heardAt time.Time
	ready   string // what OpenTofu's directory was prepared for
	planned *planned
	shells  map[door]*ssh.Client
	// passOn is what the bastion passes the operator on by.
	passOn func(ctx context.Context, machine string) (Entry, error)
}

// Archive is a file of all the software of a machine, and its SHA-256.
type Archive struct {
	File, Digest string
}

// planned is a plan that was shown, and what it is for.
type planned struct {
	variables string
	file      string
	plan      *tfjson.Plan
}

var _ provider.Provider = (*Provider)(nil)

// New returns a provider for one cluster. It touches nothing.
func New(o Options) (*Provider, error) {
	switch {
	case o.Cluster == nil || o.Cluster.Spec.Provider.AWS == nil:
		return nil, errors.New("aws provider: this is no cluster on AWS")
	case !filepath.IsAbs(o.Dir) || !filepath.IsAbs(o.Plugins):
		return nil, fmt.Errorf("aws provider: the directories %q and %q must be absolute paths", o.Dir, o.Plugins)
	case o.Modules == nil || o.Archive == nil || o.Enter == nil:
		return nil, errors.New("aws provider: the modules, the archive and the way into machines must be given")
	}
	p := &Provider{Options: o, shells: map[door]*ssh.Client{}}
	p.passOn = p.passedOn
	return p, nil
}

func (p *Provider) region() string { return p.Cluster.Spec.Provider.AWS.Region }
func (p *Provider) name() string   { return p.Cluster.Metadata.Name }

// workDir is where OpenTofu works. What is in it can all be had again.
func (p *Provider) workDir() string { return filepath.Join(p.Dir, "terraform") }

// aws is the configuration of AWS's own client: credentials, as all its programs find them, and the region of the file. A caller holds mu.
func (p *Provider) aws(ctx context.Context) (aws.Config, error) {
	if p.config != nil {
		return *p.config, nil
	}
	c, err := config.LoadDefaultConfig(ctx, config.WithRegion(p.region()),
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired)) // TLS sees to it that nothing is changed on the way
	if err != nil {
		return c, fmt.Errorf("read the configuration of AWS (~/.aws, AWS_PROFILE and the like): %w", err)
	}
	p.config = &c
	return c, nil
}
