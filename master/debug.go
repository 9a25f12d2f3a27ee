package master

import (
	"os"
	"strings"

	"rookery/internal/settings"
)

// debugSetting is log_debug in the words of the run-time filter.
func debugSetting(set *settings.Set) string {
	terms := settings.LogDebug.Get(set)
	out := make([]string, len(terms))
	for i, t := range terms {
		out[i] = strings.Replace(t, "remote_ip=", "ip=", 1)
	}
	return strings.Join(out, " ")
}

func selfPID() int { return os.Getpid() }
