// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Engine.Doctor;

/// <summary>How much a finding matters.</summary>
public enum Severity
{
    /// <summary>As it should be.</summary>
    Ok,

    /// <summary>Worth knowing; backups work.</summary>
    Note,

    /// <summary>Backups work, but cost more, or are worth less, than they could.</summary>
    Warning,

    /// <summary>A backup fails, or something that was left behind does harm.</summary>
    Problem,
}

/// <summary>One thing that was looked at.</summary>
/// <param name="Severity">How much it matters.</param>
/// <param name="Subject">On what: <c>host</c>, <c>hypervisor</c>, <c>machine 'x'</c>, <c>disk 'vda' of 'x'</c>, <c>repository</c>.</param>
/// <param name="What">One sentence, or two.</param>
/// <param name="Mend">The command that mends it; null when there is nothing to do, or nothing a command can do.</param>
public sealed record Finding(Severity Severity, string Subject, string What, string? Mend = null)
{
    public static Finding Ok(string subject, string what) => new(Severity.Ok, subject, what);

    public static Finding Note(string subject, string what, string? mend = null) => new(Severity.Note, subject, what, mend);

    public static Finding Warning(string subject, string what, string? mend = null) => new(Severity.Warning, subject, what, mend);

    public static Finding Problem(string subject, string what, string? mend = null) => new(Severity.Problem, subject, what, mend);
}
