package main

import (
	"context"
	"time"
)

func inProcess(ctx context.Context, b *bench) error { return nil }
func hashing(ctx context.Context, b *bench) error   { return nil }
func million(ctx context.Context, b *bench) error   { return nil }
func bareHashes(d time.Duration) error              { return nil }
