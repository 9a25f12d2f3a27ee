//go:build rookery_attack

package inside

import "rookery/internal/sandbox"

func takeAway(o sandbox.Options, p sandbox.Protection) sandbox.Options { return o.TakeAway(p) }
