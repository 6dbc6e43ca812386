// Package custody has the keys of the data at rest: where the key-encryption key (KEK)
// comes from, the conversion of plain data directories, and the rotation of keys.
//
// It stands on one rule: nothing is written before the right key is there. [Open] reads
// the KEK and opens the keyring with it, before [Vault.Convert] encrypts what is still plain.
// A wrong or missing key changes no file.
//
// # Which files are encrypted
//
// Everything that holds state or a secret of the cluster: raftlog/, state/, snapshots/,
// local/ and what is set aside from it, local.seal, and cluster/ (the node's certificate and
// its key). These are plain: LOCK, RESTORING, FOUNDING, node-id and boot, which hold no
// secret; operator.token, admin.crt and admin.key, which
// people and other programs read; ballast, which holds no data; keyring, which the KEK
// wraps; and encryption.key, the KEK itself unless it comes from elsewhere.
//
// # What a crash does
//
//   - First start: the key file is durable before the keyring, the keyring before the
//     first encrypted file.
//   - Conversion: the keyring says that it is under way. Each file is written again beside
//     itself and renamed. The next start converts the files that are still plain.
//   - New KEK in a file: it is written as encryption.key.new, then the keyring is wrapped
//     with it, then it gets its name. A start tries both files and finishes the step.
//   - New data key: the keyring has it before a file does. A start with more than one data
//     key goes on with the rotation.
//
// # Goroutines and locks
//
// None of its own; [Vault.Run] blocks. Vault.turn is held by one rotation at a time, and
// Vault.mu while the progress is read or set.
package custody
