// Package kubernetes has a test: the manifests of examples/cluster say what Kubernetes
// understands, strictly.
package kubernetes

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"
)

const example = "../../examples/cluster"

func TestManifests(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(example, "kubernetes", "registration.yaml"))
	require.NoError(t, err)
	var (
		config     corev1.ConfigMap
		deployment appsv1.Deployment
		budget     policyv1.PodDisruptionBudget
		service    corev1.Service
		ingress    networkingv1.Ingress
	)
	all := map[string]any{"ConfigMap": &config, "Deployment": &deployment, "PodDisruptionBudget": &budget, "Service": &service, "Ingress": &ingress}
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(raw)))
	seen := map[string]bool{}
	for {
		buf := make([]byte, 1<<20)
		n, err := documents.Read(buf)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		var kind struct{ Kind string }
		require.NoError(t, strict.Unmarshal(buf[:n], &kind))
		require.Contains(t, all, kind.Kind)
		require.NoError(t, strict.UnmarshalStrict(buf[:n], all[kind.Kind]), kind.Kind)
		seen[kind.Kind] = true
	}
	require.Len(t, seen, len(all))

	caddyfile, err := os.ReadFile(filepath.Join(example, "Caddyfile"))
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(caddyfile)), strings.TrimSpace(config.Data["Caddyfile"]), "the Caddyfile of the example has changed; the manifest has a copy of it")

	// What one names, another has.
	labels := deployment.Spec.Template.Labels
	require.Equal(t, labels, deployment.Spec.Selector.MatchLabels)
	require.Equal(t, labels, service.Spec.Selector)
	require.Equal(t, labels, budget.Spec.Selector.MatchLabels)
	require.Len(t, deployment.Spec.Template.Spec.Containers, 1)
	caddy := deployment.Spec.Template.Spec.Containers[0]
	port := caddy.Ports[0]
	require.Equal(t, port.Name, caddy.ReadinessProbe.HTTPGet.Port.StrVal)
	require.Equal(t, port.Name, caddy.LivenessProbe.HTTPGet.Port.StrVal)
	require.Equal(t, port.Name, service.Spec.Ports[0].TargetPort.StrVal)
	require.Equal(t, service.Spec.Ports[0].Name, ingress.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Port.Name)
	require.Equal(t, service.Name, ingress.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name)
	volumes := map[string]bool{}
	for _, volume := range deployment.Spec.Template.Spec.Volumes {
		volumes[volume.Name] = true
		if volume.ConfigMap != nil {
			require.Equal(t, config.Name, volume.ConfigMap.Name)
		}
	}
	for _, mount := range caddy.VolumeMounts {
		require.True(t, volumes[mount.Name], mount.Name)
	}
}
