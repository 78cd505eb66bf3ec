// inprocess.go: the guard's Go benchmarks (bench_test.go), run as a test binary.

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

var benchLine = regexp.MustCompile(`(?m)^Benchmark(\w+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op\s+\d+ B/op\s+(\d+) allocs/op`)

func inProcess(ctx context.Context, b *bench) error {
	binary := filepath.Join(b.dir, "registration.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, ".") //nolint:gosec // fixed words
	build.Dir, build.Stderr = b.root, os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	nanos, allocs := map[string][]float64{}, map[string]float64{}
	rounds := max(b.rounds/4, 4)
	for range rounds {
		words := append(b.pinned(b.serverCPU), binary, "-test.run", "^$", "-test.bench", "^Benchmark(GuardHit|GuardAnonymous)$",
			"-test.benchmem", "-test.benchtime", "500ms")
		run := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // our own words
		run.Dir = b.root
		out, err := run.Output()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		found := benchLine.FindAllStringSubmatch(string(out), -1)
		if len(found) != 2 {
			return fmt.Errorf("no figures in %q", strings.TrimSpace(string(out)))
		}
		for _, m := range found {
			ns, _ := strconv.ParseFloat(m[2], 64) // the expression lets nothing else through
			nanos[m[1]] = append(nanos[m[1]], ns)
			allocs[m[1]], _ = strconv.ParseFloat(m[3], 64)
		}
		if err := b.rest(ctx); err != nil {
			return err
		}
	}
	hit, miss := nanos["GuardHit"], nanos["GuardAnonymous"]
	b.judge("guard, one hit, in the process, ns", "≤ 1000", "%.0f", median(hit), middle("%.0f", hit), median(hit) <= 1000)
	b.judge("guard, one hit, allocations", "≤ 5", "%.0f", allocs["GuardHit"], "", allocs["GuardHit"] <= 5)
	b.judge("guard, anonymous redirect, in the process, ns", "≤ 2000", "%.0f", median(miss), middle("%.0f", miss), median(miss) <= 2000)
	return nil
}
