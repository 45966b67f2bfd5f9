// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Lab;

/// <summary>This machine cannot run the host that was asked for; tests skip with the message.</summary>
public sealed class LabUnavailableException(string message) : Exception(message);
