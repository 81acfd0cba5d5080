package cli

// child is a command that exec starts.
func child(string) {}
