// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Runs;

/// <summary>What a worker tells its guardian, one word a line; the end of the pipe is the worker's death.</summary>
internal enum GuardianSignal
{
    /// <summary>Guardian to worker: connected and watching.</summary>
    Ready,

    /// <summary>A freeze is about to be sent.</summary>
    MayBeFrozen,

    /// <summary>The agent confirmed the thaw, or no freeze was sent.</summary>
    Thawed,

    /// <summary>NBD connections are being negotiated.</summary>
    Connecting,

    /// <summary>Every NBD connection is past its negotiation.</summary>
    Connected,

    /// <summary>The run is over and nothing of it is left, except perhaps a thaw that the journal says is owed.</summary>
    Done,
}
