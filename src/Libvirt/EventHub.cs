// SPDX-License-Identifier: Apache-2.0
using Tidemark.Libvirt.Native;

namespace Tidemark.Libvirt;

/// <summary>Hands what happens on a connection to its subscriptions; called on the event loop thread.</summary>
internal sealed class EventHub : IEventSink
{
    private readonly Lock _gate = new();
    private List<EventSubscription> _subscriptions = [];

    internal bool IsEmpty => _subscriptions.Count == 0;

    public void OnEvent(DomainEvent domainEvent) => Publish(domainEvent);

    public void OnClosed(CloseReason reason) => Publish(new ConnectionLostEvent(reason));

    internal EventSubscription Add(Guid? uuid)
    {
        var subscription = new EventSubscription(uuid, Remove);
        lock (_gate)
            _subscriptions = [.. _subscriptions, subscription];
        return subscription;
    }

    internal void Publish(LibvirtEvent libvirtEvent)
    {
        foreach (var subscription in _subscriptions)
            subscription.Offer(libvirtEvent);
    }

    internal void Complete()
    {
        foreach (var subscription in _subscriptions)
            subscription.Dispose();
    }

    private void Remove(EventSubscription subscription)
    {
        lock (_gate)
            _subscriptions = [.. _subscriptions.Where(other => other != subscription)];
    }
}
