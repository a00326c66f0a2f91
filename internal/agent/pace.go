package agent

import "time"

// questions is how often a second a whole cluster asks Vault for news, at most: two hundred machines every ten seconds.
const questions = 20

// Pace is how often an agent asks Vault for news, and how old its status may become when nothing changes. The more
// machines there are, the less often each does, so that it is not the number of machines that Vault is busy with.
// A status is never older than an eighth of the life of certificates, or the machine would be thought lost.
func Pace(machines int, leafTTL time.Duration) (ask, beat time.Duration) {
	ask = max(interval, time.Duration(machines)*time.Second/questions)
	beat = 3 * ask
	if leafTTL > 0 {
		beat = min(beat, leafTTL/8)
	}
	return min(ask, beat), beat
}

// Silence is how long nothing has to be heard of an agent before something is wrong with it.
func Silence(machines int, leafTTL time.Duration) time.Duration {
	_, beat := Pace(machines, leafTTL)
	return 4 * beat
}
