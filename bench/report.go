// report.go: medians, verdicts, the table, and the machine that it was made on.

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A row is one line of the table.
type row struct {
	what, goal, figure string
	// spread is the middle half of the rounds, or other words beside the figure.
	spread string
	// verdict is yes or no; nil: a row that only informs.
	verdict *bool
}

func (b *bench) add(r row) {
	b.rows = append(b.rows, r)
	fmt.Printf("  %s: %s %s (goal %s) %s\n", r.what, r.figure, r.spread, r.goal, r.word())
}

func (r row) word() string {
	switch {
	case r.verdict == nil:
		return ""
	case *r.verdict:
		return "met"
	}
	return "**missed**"
}

// judge adds a row whose figure has a bound.
func (b *bench) judge(what, goal, format string, figure float64, spread string, ok bool) {
	b.add(row{what, goal, fmt.Sprintf(format, figure), spread, &ok})
}

// inform adds a row without a goal.
func (b *bench) inform(what, format string, figure float64, spread string) {
	b.add(row{what, "", fmt.Sprintf(format, figure), spread, nil})
}

func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	at := q * float64(len(s)-1)
	low := int(at)
	high := min(low+1, len(s)-1)
	return s[low] + (at-float64(low))*(s[high]-s[low])
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// middle writes the middle half of the rounds.
func middle(format string, values []float64) string {
	return fmt.Sprintf(format+" – "+format+", %d rounds", quantile(values, 0.25), quantile(values, 0.75), len(values))
}

// ratios divides round by round.
func ratios(over, under []float64) (out []float64) {
	for i := range over {
		out = append(out, over[i]/under[i])
	}
	return out
}

func differences(of, less []float64) (out []float64) {
	for i := range of {
		out = append(out, of[i]-less[i])
	}
	return out
}

const (
	markBegin = "<!-- bench: begin -->\n"
	markEnd   = "<!-- bench: end -->\n"
)

// report is the table with the machine above it, in Markdown.
func (b *bench) report(ctx context.Context) string {
	var out strings.Builder
	command := func(name string, args ...string) string {
		text, _ := exec.CommandContext(ctx, name, args...).Output() //nolint:gosec // fixed words
		return strings.TrimSpace(string(text))
	}
	load, _ := os.ReadFile("/proc/loadavg")
	form := "the long form"
	if b.short {
		form = "the short form"
	}
	if b.priority {
		form += ", under real-time priority"
	}
	fmt.Fprintf(&out, "Measured on %s by `make bench` (%s, %.0f minutes): %s, %d CPUs, %.0f GiB of memory, Linux %s, %s, "+
		"Caddy %s, %s; load average at the end %s. Figures are medians of interleaved rounds; beside them stands the middle half of the rounds.\n\n",
		b.started.UTC().Format("2006-01-02 15:04 UTC"), form, math.Ceil(time.Since(b.started).Minutes()),
		machine(), runtime.NumCPU(), memory(), command("uname", "-r"), runtime.Version(),
		command("go", "list", "-m", "-f", "{{.Version}}", "github.com/caddyserver/caddy/v2"),
		strings.SplitN(command("sh", "-c", "wrk -v 2>&1 | head -1"), " Copyright", 2)[0],
		strings.Join(strings.Fields(string(load))[:3], " "))
	var busy float64
	if _, _ = fmt.Sscan(string(load), &busy); busy > float64(2*runtime.NumCPU()+2) {
		out.WriteString("**The machine was busy with other work: look at the controls and the spread before you believe a verdict.**\n\n")
	}
	out.WriteString("| what | goal | measured | spread | |\n|---|---|---|---|---|\n")
	for _, r := range b.rows {
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s |\n", r.what, r.goal, r.figure, r.spread, r.word())
	}
	for _, note := range b.notes {
		fmt.Fprintf(&out, "\n%s\n", note)
	}
	return out.String()
}

func machine() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// memory is in GiB.
func memory() float64 {
	var kB float64
	text, _ := os.ReadFile("/proc/meminfo")
	_, _ = fmt.Sscanf(string(text), "MemTotal: %f", &kB)
	return kB / (1 << 20)
}

// replaceTable puts the report between the marks of a file.
func replaceTable(path, report string) error {
	text, err := os.ReadFile(path) //nolint:gosec // the caller's file
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), markBegin)
	_, after, ok2 := strings.Cut(rest, markEnd)
	if !ok || !ok2 {
		return errors.New(path + " has no marks of bench")
	}
	return os.WriteFile(path, []byte(before+markBegin+report+markEnd+after), 0o644) //nolint:gosec // documentation
}
