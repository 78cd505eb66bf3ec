package main

import (
	"context"
)

func inProcess(ctx context.Context, b *bench) error { return nil }
func million(ctx context.Context, b *bench) error   { return nil }
