package main

import (
	"context"
	"os"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/phase"
)

// opened is the cluster of a file as its operator reaches it, until done is called.
func opened(ctx context.Context, file string) (t *claim.Target, done func(), err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	spec, err := v1alpha1.Decode(b, file)
	if err != nil {
		return nil, nil, err
	}
	c, err := phase.Open(spec, phase.Options{})
	if err != nil {
		return nil, nil, err
	}
	if t, err = phase.Target(ctx, c); err != nil {
		c.Close(ctx)
		return nil, nil, err
	}
	return t, func() { c.Close(ctx) }, nil
}
