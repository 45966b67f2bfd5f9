// SPDX-License-Identifier: Apache-2.0
using System.Threading.Channels;

namespace Tidemark.Libvirt;

/// <summary>
/// The events of one domain, or of all, in order, for one reader. A reader that falls <see cref="Capacity"/> events behind gets
/// <see cref="InvalidOperationException"/> after those: a gap is never silent. Dispose ends it; so does disposing the connection.
/// </summary>
public sealed class EventSubscription : IDisposable
{
    /// <summary>Events kept for a slow reader; a busy host makes a few per second.</summary>
    public const int Capacity = 10_000;

    private readonly Channel<LibvirtEvent> _channel =
        Channel.CreateBounded<LibvirtEvent>(new BoundedChannelOptions(Capacity) { SingleReader = true });

    private readonly Guid? _uuid;
    private readonly Action<EventSubscription> _onDispose;

    internal EventSubscription(Guid? uuid, Action<EventSubscription> onDispose)
    {
        _uuid = uuid;
        _onDispose = onDispose;
    }

    /// <summary>Ends when the subscription or its connection is disposed.</summary>
    public IAsyncEnumerable<LibvirtEvent> ReadAllAsync(CancellationToken cancellationToken = default) =>
        _channel.Reader.ReadAllAsync(cancellationToken);

    /// <summary>Takes an event that is already there.</summary>
    public bool TryRead(out LibvirtEvent? libvirtEvent) => _channel.Reader.TryRead(out libvirtEvent);

    /// <summary>Reads up to the first event of type <typeparamref name="T"/> that matches; the ones before it are dropped.</summary>
    /// <exception cref="TimeoutException">None came within <paramref name="patience"/>.</exception>
    public async Task<T> WaitForAsync<T>(
        TimeSpan patience, Func<T, bool>? matches = null, CancellationToken cancellationToken = default)
        where T : LibvirtEvent
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(patience);
        try
        {
            await foreach (var libvirtEvent in _channel.Reader.ReadAllAsync(limit.Token))
            {
                if (libvirtEvent is T candidate && (matches == null || matches(candidate)))
                    return candidate;
            }
        }
        catch (OperationCanceledException exception) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"No event '{typeof(T).Name}' came within {patience.TotalSeconds:0.#} s.", exception);
        }
        throw new ObjectDisposedException(nameof(EventSubscription));
    }

    public void Dispose()
    {
        _onDispose(this);
        _channel.Writer.TryComplete();
    }

    internal void Offer(LibvirtEvent libvirtEvent)
    {
        if (_uuid != null && libvirtEvent is DomainEvent domainEvent && domainEvent.Uuid != _uuid)
            return;
        if (!_channel.Writer.TryWrite(libvirtEvent))
            _channel.Writer.TryComplete(new InvalidOperationException($"The reader is more than {Capacity} libvirt events behind."));
    }
}
