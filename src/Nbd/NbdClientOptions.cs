// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Nbd;

/// <summary>How to connect and how hard to drive the connection.</summary>
public sealed record NbdClientOptions
{
    public static NbdClientOptions Default { get; } = new();

    /// <summary>
    /// Connecting and negotiating together. QEMU drops a client after 10 s of negotiation and can hang for good when its
    /// server stops while one is in it, so this must not be longer.
    /// </summary>
    public TimeSpan HandshakeTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>A connection with requests in flight on which no byte moves for this long is dead.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Requests in flight on one connection.</summary>
    public int Depth { get; init; } = 16;

    /// <summary>Connections to one export, of a source or target; one where the server does not offer several.</summary>
    public int Connections { get; init; } = 4;

    /// <summary>Longest READ or WRITE in bytes; the server's maximum may make it shorter.</summary>
    public int RequestLength { get; init; } = 256 * 1024;

    /// <summary>
    /// Meta contexts to ask for. A name that ends in ':' or ':*' stands for all the server has in that namespace.
    /// What the server lacks is absent from <see cref="NbdExport.Contexts"/>.
    /// </summary>
    public IReadOnlyList<string> Contexts { get; init; } = [NbdMetaContext.BaseAllocation];

    /// <summary>False: do not ask for structured replies, so no holes, no contexts, no error texts.</summary>
    public bool StructuredReplies { get; init; } = true;

    /// <summary>The clock of all time limits.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(HandshakeTimeout, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(RequestTimeout, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Depth);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Depth, NbdLimits.MaxDepth);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Connections);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Connections, NbdLimits.MaxConnections);
        ArgumentOutOfRangeException.ThrowIfLessThan(RequestLength, (int)NbdLimits.MaxMinimumBlockSize);
        ArgumentNullException.ThrowIfNull(Contexts);
        ArgumentNullException.ThrowIfNull(Clock);
    }
}
