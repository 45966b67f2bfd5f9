// SPDX-License-Identifier: Apache-2.0
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Tidemark.Libvirt.Native;

/// <summary>
/// The C callbacks: they run on the event loop thread, copy what they get into a record and hand it to the <see cref="IEventSink"/>
/// behind the opaque handle. They must neither throw nor call anything that waits for the loop.
/// </summary>
internal static unsafe class EventCallbacks
{
    internal static readonly (int EventId, nint Callback)[] All =
    [
        (0, (nint)(delegate* unmanaged[Cdecl]<nint, nint, int, int, nint, int>)&Lifecycle), // VIR_DOMAIN_EVENT_ID_LIFECYCLE
        (6, (nint)(delegate* unmanaged[Cdecl]<nint, nint, byte*, byte*, int, byte*, nint, void>)&IoError), // ..._IO_ERROR_REASON
        (16, (nint)(delegate* unmanaged[Cdecl]<nint, nint, byte*, int, int, nint, void>)&BlockJob), // ..._BLOCK_JOB_2
        (18, (nint)(delegate* unmanaged[Cdecl]<nint, nint, int, int, nint, void>)&AgentLifecycle), // ..._AGENT_LIFECYCLE
        (21, (nint)(delegate* unmanaged[Cdecl]<nint, nint, TypedParameter*, int, nint, void>)&JobCompleted), // ..._JOB_COMPLETED
        (24, (nint)(delegate* unmanaged[Cdecl]<nint, nint, byte*, byte*, ulong, ulong, nint, void>)&BlockThreshold), // ..._BLOCK_THRESHOLD
    ];

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    internal static void Free(nint opaque) => GCHandle.FromIntPtr(opaque).Free();

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    internal static void Closed(nint connection, int reason, nint opaque) => Sink(opaque).OnClosed((CloseReason)reason);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Lifecycle(nint connection, nint domain, int change, int detail, nint opaque)
    {
        var (uuid, name) = Identify(domain);
        Sink(opaque).OnEvent(new LifecycleEvent(uuid, name, (LifecycleChange)change, detail));
        return 0;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void IoError(nint connection, nint domain, byte* source, byte* device, int action, byte* reason, nint opaque)
    {
        var (uuid, name) = Identify(domain);
        Sink(opaque).OnEvent(new IoErrorEvent(uuid, name, Text(source), Text(device), (IoErrorAction)action, Text(reason)));
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void BlockJob(nint connection, nint domain, byte* disk, int type, int status, nint opaque)
    {
        var (uuid, name) = Identify(domain);
        Sink(opaque).OnEvent(new BlockJobEvent(uuid, name, Text(disk), (BlockJobType)type, (BlockJobStatus)status));
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void AgentLifecycle(nint connection, nint domain, int state, int reason, nint opaque)
    {
        var (uuid, name) = Identify(domain);
        Sink(opaque).OnEvent(new AgentLifecycleEvent(uuid, name, state == 1)); // VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void JobCompleted(nint connection, nint domain, TypedParameter* parameters, int count, nint opaque)
    {
        var (uuid, name) = Identify(domain);
        Sink(opaque).OnEvent(new JobCompletedEvent(uuid, name, new JobStats(JobType.Completed, TypedParameter.Read(parameters, count))));
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void BlockThreshold(
        nint connection, nint domain, byte* device, byte* path, ulong threshold, ulong excess, nint opaque)
    {
        var (uuid, name) = Identify(domain);
        Sink(opaque).OnEvent(new BlockThresholdEvent(uuid, name, Text(device), Text(path), (long)threshold, (long)excess));
    }

    private static IEventSink Sink(nint opaque) => (IEventSink)GCHandle.FromIntPtr(opaque).Target!;

    private static string Text(byte* text) => Marshal.PtrToStringUTF8((nint)text) ?? "";

    private static (Guid Uuid, string Name) Identify(nint domain)
    {
        var uuid = stackalloc byte[37];
        return EventNative.GetBorrowedUuid(domain, uuid) < 0
            ? (Guid.Empty, "")
            : (Guid.Parse(Text(uuid)), Text(EventNative.GetBorrowedName(domain)));
    }
}

/// <summary>Receives what happens on one native connection, on the event loop thread; must return at once and never throw.</summary>
internal interface IEventSink
{
    void OnEvent(DomainEvent domainEvent);

    void OnClosed(CloseReason reason);
}
